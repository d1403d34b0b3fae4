//! Requests of skills against real listeners: one that may be reached, and one that
//! counts every connection that should not have been made.

use super::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// The fault: whoever connects looks the name up again.
pub(super) struct Again(pub(super) Arc<dyn Resolver>);

impl Resolve for Again {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = Arc::clone(&self.0);
        Box::pin(async move {
            let found = resolver.lookup(name.as_str()).await?;
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

/// Answers each question with the next list, and the last one for ever.
struct Script(Mutex<Vec<Vec<IpAddr>>>);

impl Script {
    fn of(answers: &[&[&str]]) -> Arc<Self> {
        let answers = answers.iter().map(|answer| answer.iter().map(|a| a.parse().unwrap()).collect()).collect();
        Arc::new(Self(Mutex::new(answers)))
    }
}

impl Resolver for Script {
    fn lookup<'a>(&'a self, _name: &'a str) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send + 'a>> {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        Box::pin(std::future::ready(Ok(answer)))
    }
}

/// A server that counts its connections and answers each with the same bytes.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    heard: Arc<Mutex<String>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(address: &str, answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let heard = Arc::new(Mutex::new(String::new()));
        let (count, said) = (Arc::clone(&connections), Arc::clone(&heard));
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                said.lock().unwrap().push_str(&String::from_utf8_lossy(&request[..length]));
                let _ = stream.write_all(answer).await;
            }
        });
        Self { port, connections, heard, task }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const HELLO: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

fn order(url: &str, lan: bool) -> HttpOrder {
    HttpOrder {
        skill: "test".to_owned(),
        method: "GET".to_owned(),
        url: url::Url::parse(url).unwrap(),
        headers: Vec::new(),
        body: Vec::new(),
        lan,
        max_bytes: 1024 * 1024,
    }
}

async fn ask(outbound: &Outbound, order: HttpOrder) -> Result<HttpAnswer, EffectFault> {
    // Without a provider reqwest cannot even make a client; programs install it at their start.
    let _ = rustls::crypto::ring::default_provider().install_default();
    outbound.request(order, Instant::now() + Duration::from_secs(20)).await
}

fn code(result: Result<HttpAnswer, EffectFault>) -> EffectCode {
    result.expect_err("the request is refused").code
}

#[tokio::test]
async fn no_spelling_of_this_machine_gets_past_the_check() {
    let forbidden = Server::start("127.0.0.1", HELLO).await;
    let port = forbidden.port;
    let outbound = Outbound::with(Script::of(&[&["127.0.0.1"]]));
    let mut n_refused = 0;
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "127.255.255.254",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "0",
        "0.0.0.0",
        "00.0.0.0",
        "127.0.0.1.",
        "127。0。0。1",
        "①②⑦.⓪.⓪.①",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:0:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[fc00::1]",
        "224.0.0.1",
        "255.255.255.255",
        // Names; whatever is asked, the resolver says 127.0.0.1.
        "localhost",
        "LOCALHOST",
        "localhost.",
        "localhost..",
        "a.localhost",
        "localtest.me",
        "127.0.0.1.nip.io",
        "metadata.google.internal",
        "rebind.test",
        "xn--8-0fa",
    ] {
        let Ok(url) = url::Url::parse(&format!("http://{host}:{port}/")) else { continue };
        let fault = ask(&outbound, HttpOrder { url, ..order("http://a.test/", false) }).await.expect_err(host);
        assert_eq!(fault.code, EffectCode::ForbiddenAddress, "{host}: {fault}");
        n_refused += 1;
    }
    assert!(n_refused >= 40, "{n_refused} spellings were tried");
    assert_eq!(forbidden.connections(), 0);
    // The same check lets the listener be reached where that is wanted, so the zero above means something.
    let answer = ask(&outbound, order(&format!("http://rebind.test:{port}/"), true)).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice(), forbidden.connections()), (200, &b"hello"[..], 1));
}

#[tokio::test]
async fn with_lan_some_addresses_stay_closed() {
    let outbound = Outbound::with(Script::of(&[&["169.254.169.254"]]));
    for host in ["0.0.0.0", "169.254.169.254", "[::ffff:169.254.169.254]", "metadata.test", "224.0.0.1", "[ff02::1]"] {
        assert_eq!(code(ask(&outbound, order(&format!("http://{host}/"), true)).await), EffectCode::ForbiddenAddress);
    }
}

/// A name that leads to a public address when it is checked, and to this machine when it is called.
/// 192.0.2.1 would be refused, so a loopback alias stands for the public address and `lan` is given:
/// what is to be seen is which of the two listeners is called.
async fn rebinding(resolves_twice: bool) -> (usize, usize) {
    let checked = Server::start("127.0.0.2", HELLO).await;
    // The same port on another address, as a rebinding name would have it.
    let listener = TcpListener::bind(("127.0.0.3", checked.port)).await.unwrap();
    let other = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&other);
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(HELLO).await;
        }
    });
    let resolver = Script::of(&[&["127.0.0.2"], &["127.0.0.3"]]);
    let outbound = Outbound { resolves_twice, ..Outbound::with(resolver) };
    ask(&outbound, order(&format!("http://rebind.test:{}/", checked.port), true)).await.unwrap();
    task.abort();
    (checked.connections(), other.load(Ordering::SeqCst))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_name_that_changes_its_mind_is_called_where_it_was_checked() {
    assert_eq!(rebinding(false).await, (1, 0), "the address that was checked is the one that is called");
    assert_eq!(rebinding(true).await, (0, 1), "control: looking up twice goes where nobody checked");
}

#[tokio::test]
async fn one_forbidden_address_among_many_forbids_the_name() {
    let outbound = Outbound::with(Script::of(&[&["1.1.1.1", "127.0.0.1"]]));
    assert_eq!(code(ask(&outbound, order("http://mixed.test/", false)).await), EffectCode::ForbiddenAddress);
    let outbound = Outbound::with(Script::of(&[&[]]));
    assert_eq!(code(ask(&outbound, order("http://nothing.test/", false)).await), EffectCode::Unreachable);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_nothing_is_followed() {
    let elsewhere = Server::start("127.0.0.1", HELLO).await;
    let answer = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        elsewhere.port
    );
    let first = Server::start("127.0.0.1", Box::leak(answer.into_boxed_str()).as_bytes()).await;
    let outbound = Outbound::default();
    let answer = ask(&outbound, order(&format!("http://127.0.0.1:{}/", first.port), true)).await.unwrap();
    assert_eq!(answer.status, 302);
    assert!(answer.headers.iter().any(|(name, _)| name == "location"));
    assert_eq!((first.connections(), elsewhere.connections()), (1, 0));
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_time() {
    let large = Server::start("127.0.0.1", b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\nxx").await;
    let outbound = Outbound::default();
    let url = |server: &Server| format!("http://127.0.0.1:{}/", server.port);
    assert_eq!(code(ask(&outbound, order(&url(&large), true)).await), EffectCode::TooLarge);
    let endless = Server::start("127.0.0.1", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123456789").await;
    let small = HttpOrder { max_bytes: 9, ..order(&url(&endless), true) };
    assert_eq!(code(ask(&outbound, small).await), EffectCode::TooLarge);
    // Accepts, and says nothing.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://127.0.0.1:{}/", silent.local_addr().unwrap().port());
    let began = Instant::now();
    let answer = outbound.request(order(&url, true), Instant::now() + Duration::from_millis(200)).await;
    assert_eq!(code(answer), EffectCode::Timeout);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_is_sent_is_what_was_ordered_and_is_counted() {
    let server = Server::start("127.0.0.1", HELLO).await;
    let mut order = order(&format!("http://127.0.0.1:{}/path?q=1", server.port), true);
    order.method = "POST".to_owned();
    order.headers = vec![("accept".to_owned(), "text/plain".to_owned())];
    order.body = b"body".to_vec();
    let bytes = (4 + order.url.as_str().len() + "accepttext/plain".len() + 4) as u64;
    let answer = ask(&Outbound::default(), order).await.unwrap();
    assert_eq!(answer.bytes_out, bytes);
    let heard = server.heard.lock().unwrap().clone();
    assert!(heard.starts_with("POST /path?q=1 HTTP/1.1\r\n"), "{heard}");
    assert!(heard.contains(&format!("user-agent: {USER_AGENT}\r\n")), "{heard}");
    assert!(!heard.to_lowercase().contains("referer") && !heard.to_lowercase().contains("cookie"), "{heard}");
}

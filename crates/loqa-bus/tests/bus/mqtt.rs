//! The MQTT gateway of the real nats-server, spoken to in plain MQTT 3.1.1 bytes: who
//! gets in, that messages pass between devices, and that devices and Loqa's own bus do
//! not hear each other.

use crate::support::{LIMIT, Wire, may, nats_server};
use loqa_bus::{Bus, BusServer, MqttGateway, Permissions, RestartPolicy, ServerOptions};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const PASSWORD: &str = "a password of devices";

struct Gateway {
    server: BusServer,
    listen: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Gateway {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The system chooses a free port; nobody else takes it in this moment.
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let gateway = MqttGateway {
            listen,
            store_dir: dir.path().join("store"),
            users: vec![("device".into(), PASSWORD.into()), ("bridge".into(), "another password".into())],
        };
        let options = ServerOptions { binary: nats_server(), run_dir: dir.path().join("run") };
        let server = BusServer::start_with_mqtt(options, RestartPolicy::default(), Some(gateway)).await.unwrap();
        Self { server, listen, _dir: dir }
    }
}

#[tokio::test]
async fn devices_speak_with_each_other_and_retained_messages_are_kept() {
    let gateway = Gateway::start().await;
    let mut lamp = Device::login(gateway.listen, "lamp", "device", PASSWORD).unwrap();
    // What came back was taken in by the server, and is retained soon after.
    lamp.subscribe("home/lamp/state");
    lamp.publish("home/lamp/state", b"ON", true);
    assert_eq!(lamp.next(), ("home/lamp/state".into(), b"ON".to_vec()));
    std::thread::sleep(std::time::Duration::from_millis(500));
    let mut bridge = Device::login(gateway.listen, "bridge", "bridge", "another password").unwrap();
    bridge.subscribe("home/#");
    assert_eq!(bridge.next(), ("home/lamp/state".into(), b"ON".to_vec()), "the retained message");
    lamp.publish("home/lamp/state", b"OFF", false);
    assert_eq!(bridge.next(), ("home/lamp/state".into(), b"OFF".to_vec()));
    // An identity that comes and goes reloads the server's configuration.
    gateway.server.add_identity("operator", Permissions::operator()).await.unwrap();
    gateway.server.remove_identity("operator").await.unwrap();
    lamp.publish("home/lamp/state", b"ON", false);
    assert_eq!(bridge.next().1, b"ON", "connections of devices outlive a change of identities");
    gateway.server.stop().await;
}

#[tokio::test]
async fn without_the_password_nobody_gets_in_and_with_it_nobody_gets_onto_the_bus() {
    let gateway = Gateway::start().await;
    for (user, password) in [("device", "wrong"), ("", ""), ("nobody", PASSWORD), ("device", "")] {
        assert!(Device::login(gateway.listen, "x", user, password).is_none(), "{user}:{password}");
    }
    let mut wire = Wire::open(&gateway.server.url());
    wire.line();
    wire.send(&format!("CONNECT {{\"verbose\":false,\"user\":\"device\",\"pass\":\"{PASSWORD}\"}}\r\n"));
    assert!(!wire.verdict(), "the password of a device opens MQTT and nothing else");
    gateway.server.stop().await;
}

#[tokio::test]
async fn no_topic_of_a_device_is_a_subject_of_loqa_and_the_other_way_round() {
    let gateway = Gateway::start().await;
    let add = async |name: &str, permissions: Permissions| {
        Bus::connect(&gateway.server.add_identity(name, permissions).await.unwrap()).await.unwrap()
    };
    let hub = add("hub", Permissions::hub()).await;
    let other = add("other", may(&["loqa.event.s-1", "loqa.home.lamp"], &["loqa.home.*"])).await;
    let mut asks = hub.subscribe("loqa.hub.ask", None, 8).await.unwrap();
    let mut lamp_on_bus = other.subscribe("loqa.home.*", None, 8).await.unwrap();
    hub.flush().await.unwrap();
    other.flush().await.unwrap();
    let mut device = Device::login(gateway.listen, "lamp", "device", PASSWORD).unwrap();
    device.subscribe("#");
    for topic in ["loqa/hub/ask", "loqa/home/lamp", "loqa/skill/home/call"] {
        device.publish(topic, b"{}", false);
        assert_eq!(device.next().0, topic, "it hears itself");
    }
    other.publish_bytes("loqa.event.s-1", &[], "x".into()).await.unwrap();
    other.publish_bytes("loqa.home.lamp", &[], "from the bus".into()).await.unwrap();
    other.flush().await.unwrap();
    assert_eq!(lamp_on_bus.next().await.unwrap().payload, "from the bus", "and not what the device said");
    assert!(tokio::time::timeout(Duration::from_millis(300), asks.next()).await.is_err(), "the hub hears no device");
    device.publish("last", b"", false);
    assert_eq!(device.next().0, "last", "nothing of the bus came before it");
    gateway.server.stop().await;
}

/// A client that knows as much of MQTT 3.1.1 as is tried here.
struct Device(TcpStream);

impl Device {
    fn login(listen: SocketAddr, id: &str, user: &str, password: &str) -> Option<Self> {
        let mut stream = TcpStream::connect(listen).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, if user.is_empty() { 2 } else { 0xc2 }, 0, 60];
        let texts: &[&str] = if user.is_empty() { &[id] } else { &[id, user, password] };
        for text in texts {
            body.extend((text.len() as u16).to_be_bytes());
            body.extend(text.bytes());
        }
        let mut device = Self(stream.try_clone().unwrap());
        device.send(0x10, &body);
        let mut answer = [0; 4];
        match stream.read_exact(&mut answer) {
            Ok(()) => (answer[0] == 0x20 && answer[3] == 0).then_some(device),
            Err(_) => None,
        }
    }

    fn subscribe(&mut self, topic: &str) {
        let mut body = vec![0, 1];
        body.extend((topic.len() as u16).to_be_bytes());
        body.extend(topic.bytes());
        body.push(0);
        self.send(0x82, &body);
        let (kind, _) = self.packet();
        assert_eq!(kind >> 4, 9, "the subscription is taken");
    }

    fn publish(&mut self, topic: &str, payload: &[u8], retain: bool) {
        let mut body = (topic.len() as u16).to_be_bytes().to_vec();
        body.extend(topic.bytes());
        body.extend(payload);
        self.send(0x30 | u8::from(retain), &body);
    }

    fn next(&mut self) -> (String, Vec<u8>) {
        let (kind, body) = self.packet();
        assert_eq!(kind >> 4, 3, "a message");
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        (String::from_utf8(body[2..2 + length].to_vec()).unwrap(), body[2 + length..].to_vec())
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        assert!(body.len() < 128, "one byte of length is enough here");
        let mut packet = vec![kind, body.len() as u8];
        packet.extend(body);
        self.0.write_all(&packet).unwrap();
    }

    fn packet(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        let mut body = vec![0; usize::from(head[1])];
        self.0.read_exact(&mut body).unwrap();
        (head[0], body)
    }
}

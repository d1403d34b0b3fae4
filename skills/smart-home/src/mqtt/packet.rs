//! MQTT 3.1.1 packets, as many as the bridge needs: it connects, subscribes, publishes
//! and pings. Written out because the bundled nats-server's gateway speaks this version
//! only. Reading is bounded; what does not fit the specification ends the connection.
//! <https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html>

/// Largest packet that is read. Chosen: a discovery message has a few KiB.
pub(super) const MAX_PACKET: usize = 256 * 1024;

/// What a broker sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Incoming {
    /// The login was accepted, or the code says why not.
    ConnAck { code: u8 },
    /// A message on a topic.
    Publish { topic: String, payload: Vec<u8>, id: Option<u16> },
    /// The broker has a message of ours.
    PubAck { id: u16 },
    /// The broker has taken a subscription.
    SubAck,
    /// It is alive.
    PingResp,
    /// Nothing that matters here.
    Other,
}

/// Nonsense was read; the connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// Takes one whole packet off the front of `buffer`; `None` while there is none.
pub(super) fn take(buffer: &mut Vec<u8>) -> Result<Option<Incoming>, Malformed> {
    let Some(&first) = buffer.first() else { return Ok(None) };
    let mut length = 0_usize;
    let mut header = 1;
    loop {
        let Some(&byte) = buffer.get(header) else { return Ok(None) };
        // Four bytes at most, so this cannot overflow.
        length |= usize::from(byte & 0x7f) << (7 * (header - 1));
        header += 1;
        if byte & 0x80 == 0 {
            break;
        }
        if header > 4 {
            return Err(Malformed("a length of more than four bytes"));
        }
    }
    if length > MAX_PACKET {
        return Err(Malformed("a packet that is too large"));
    }
    if buffer.len() < header + length {
        return Ok(None);
    }
    let body: Vec<u8> = buffer.drain(..header + length).skip(header).collect();
    read(first, &body).map(Some)
}

fn read(first: u8, body: &[u8]) -> Result<Incoming, Malformed> {
    let id_at = |at: usize| match body.get(at..at + 2) {
        Some([high, low]) => Ok(u16::from_be_bytes([*high, *low])),
        _ => Err(Malformed("a packet without its id")),
    };
    Ok(match first >> 4 {
        2 => match body {
            [_, code] => Incoming::ConnAck { code: *code },
            _ => return Err(Malformed("an answer to the login of another length")),
        },
        3 => {
            let length = usize::from(id_at(0)?);
            let topic = body.get(2..2 + length).ok_or(Malformed("a topic that is cut short"))?;
            let topic = std::str::from_utf8(topic).map_err(|_| Malformed("a topic that is not UTF-8"))?.to_owned();
            let (id, payload) = match (first >> 1) & 3 {
                0 => (None, 2 + length),
                1 => (Some(id_at(2 + length)?), 4 + length),
                _ => return Err(Malformed("a quality of service that was not asked for")),
            };
            Incoming::Publish { topic, payload: body.get(payload..).unwrap_or_default().to_vec(), id }
        }
        4 => Incoming::PubAck { id: id_at(0)? },
        9 => Incoming::SubAck,
        13 => Incoming::PingResp,
        _ => Incoming::Other,
    })
}

/// Logs in with a clean session.
pub(super) fn connect(client_id: &str, user: &str, password: &str, keep_alive_s: u16) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, "MQTT");
    body.push(4);
    let has_user = !user.is_empty();
    body.push(0b10 | if has_user { 0b1100_0000 } else { 0 });
    body.extend(keep_alive_s.to_be_bytes());
    text(&mut body, client_id);
    if has_user {
        text(&mut body, user);
        text(&mut body, password);
    }
    packet(0x10, body)
}

/// Asks for topics, at most once each.
pub(super) fn subscribe(id: u16, topics: &[String]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    for topic in topics {
        text(&mut body, topic);
        body.push(0);
    }
    packet(0x82, body)
}

/// Publishes at least once; the broker confirms with the id.
pub(super) fn publish(id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, topic);
    body.extend(id.to_be_bytes());
    body.extend_from_slice(payload);
    packet(0x32, body)
}

pub(super) fn puback(id: u16) -> Vec<u8> {
    packet(0x40, id.to_be_bytes().to_vec())
}

pub(super) fn ping() -> Vec<u8> {
    packet(0xc0, Vec::new())
}

fn packet(first: u8, body: Vec<u8>) -> Vec<u8> {
    let mut out = vec![first];
    let mut left = body.len();
    loop {
        let byte = u8::try_from(left & 0x7f).unwrap_or(0x7f);
        left >>= 7;
        out.push(if left > 0 { byte | 0x80 } else { byte });
        if left == 0 {
            break;
        }
    }
    out.extend(body);
    out
}

fn text(body: &mut Vec<u8>, text: &str) {
    // Longer texts than the protocol can say are cut; none of ours is near it.
    let bytes = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
    body.extend(u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
    body.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_taken_whole_and_in_order() {
        let mut buffer = vec![0x20, 2, 0, 5, 0x30, 6, 0, 1, b'a', b'x', b'y', b'z', 0x32, 5, 0, 1, b'b', 0, 9, 0xd0];
        assert_eq!(take(&mut buffer), Ok(Some(Incoming::ConnAck { code: 5 })));
        let message =
            |topic: &str, payload: &[u8], id| Incoming::Publish { topic: topic.into(), payload: payload.into(), id };
        assert_eq!(take(&mut buffer), Ok(Some(message("a", b"xyz", None))));
        assert_eq!(take(&mut buffer), Ok(Some(message("b", b"", Some(9)))));
        assert_eq!(take(&mut buffer), Ok(None), "the rest has not come yet");
        buffer.push(0);
        assert_eq!(take(&mut buffer), Ok(Some(Incoming::PingResp)));
        assert!(buffer.is_empty());
    }

    #[test]
    fn nonsense_ends_it_and_never_panics() {
        for bad in [
            &[0x30, 0xff, 0xff, 0xff, 0xff, 1][..],
            &[0x30, 0xff, 0xff, 0xff, 0x7f],
            &[0x30, 1, 0],
            &[0x30, 2, 0, 9],
            &[0x30, 3, 0, 1, 0xff],
            &[0x34, 3, 0, 1, b'a'],
            &[0x32, 3, 0, 1, b'a'],
            &[0x20, 1, 0],
            &[0x40, 1, 0],
        ] {
            assert!(take(&mut bad.to_vec()).is_err(), "{bad:?}");
        }
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> = (0..12)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    (state >> 40) as u8
                })
                .collect();
            while let Ok(Some(_)) = take(&mut bytes) {}
        }
    }

    #[test]
    fn what_is_written_has_the_form_of_the_specification() {
        assert_eq!(connect("c", "", "", 30), [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 30, 0, 1, b'c']);
        assert_eq!(subscribe(1, &["a/#".into()]), [0x82, 8, 0, 1, 0, 3, b'a', b'/', b'#', 0]);
        assert_eq!(publish(7, "a", b"ON"), [0x32, 7, 0, 1, b'a', 0, 7, b'O', b'N']);
        assert_eq!(publish(7, "a", &[0; 200]).get(1..3), Some(&[0xcd, 1][..]), "205 takes two bytes");
        assert_eq!(puback(3), [0x40, 2, 0, 3]);
        assert_eq!(ping(), [0xc0, 0]);
    }
}

//! Which addresses a skill's request may go to.
//!
//! Sources: the IANA registries of special-purpose IPv4 and IPv6 addresses (RFC 6890 and
//! its updates), and the addresses at which cloud providers serve credentials to whoever
//! asks from inside a machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of place an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// On the internet.
    Public,
    /// This machine or its network; skills need `lan: true`.
    Lan,
    /// Nowhere a skill has business: metadata services, multicast, reserved ranges.
    Nowhere,
}

/// Addresses that hand out credentials or configuration to any program on the machine.
const METADATA_V4: &[Ipv4Addr] = &[
    // Amazon, Google, Microsoft, Oracle, DigitalOcean and most others.
    Ipv4Addr::new(169, 254, 169, 254),
    // Amazon: credentials of containers; its time and name servers are harmless, and of no use.
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    // Alibaba.
    Ipv4Addr::new(100, 100, 100, 200),
    // Microsoft: the wire server.
    Ipv4Addr::new(168, 63, 129, 16),
    // Oracle, in older networks.
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: &[Ipv6Addr] = &[
    // Amazon.
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    // Google.
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// The place of an address. An address that holds another one is where that one is.
#[must_use]
pub fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(address) => place_v4(address),
        IpAddr::V6(address) => place_v6(address),
    }
}

fn place_v4(address: Ipv4Addr) -> Place {
    if METADATA_V4.contains(&address) {
        return Place::Nowhere;
    }
    match address.octets() {
        [10, ..] | [127, ..] | [192, 168, ..] | [169, 254, ..] => Place::Lan,
        [172, second, ..] if (16..32).contains(&second) => Place::Lan,
        // Shared address space of providers, also used by overlay networks.
        [100, second, ..] if (64..128).contains(&second) => Place::Lan,
        // "This network", protocol assignments, documentation, 6to4 relays, benchmarks.
        [0, ..] | [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => {
            Place::Nowhere
        }
        // Multicast, reserved, broadcast.
        [224..=255, ..] => Place::Nowhere,
        _ => Place::Public,
    }
}

fn place_v6(address: Ipv6Addr) -> Place {
    if METADATA_V6.contains(&address) {
        return Place::Nowhere;
    }
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        place_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Place::Lan,
        [0, 0, 0, 0, 0, 0, 0, 0] => Place::Nowhere,
        // Mapped, compatible and translated IPv4 addresses lead to the IPv4 address.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0, 0, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => {
            embedded(high, low)
        }
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        // 6to4.
        [0x2002, high, low, ..] => embedded(high, low),
        // Unique local, link-local, and the site-local addresses of old.
        [first, ..] if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80 || first & 0xffc0 == 0xfec0 => Place::Lan,
        // Local translation prefixes, Teredo, benchmarks, ORCHID, documentation, discard.
        [0x64, 0xff9b, ..]
        | [0x2001, 0..0x200, ..]
        | [0x2001, 0xdb8, ..]
        | [0x3fff, 0..0x1000, ..]
        | [0x100, 0, 0, 0, ..]
        | [0x5f00, ..] => Place::Nowhere,
        // Everything that is handed out for the internet begins with 001.
        [first, ..] if first & 0xe000 == 0x2000 => Place::Public,
        _ => Place::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_range_is_told_from_the_internet() {
        let rows = [
            (
                Place::Public,
                "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.0 172.15.0.1 172.32.0.1 192.169.0.1 223.255.255.255",
            ),
            (Place::Public, "2606:4700::1111 2a00::1 64:ff9b::808:808 ::ffff:8.8.8.8 2002:808:808::1"),
            (
                Place::Lan,
                "127.0.0.1 127.255.255.254 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.1.1 100.64.0.1",
            ),
            (Place::Lan, "::1 fe80::1 febf::1 fec0::1 fc00::1 fdff::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1"),
            (Place::Lan, "64:ff9b::7f00:1 2002:7f00:1::1 2002:c0a8:101::1 ::ffff:0:127.0.0.1"),
            (
                Place::Nowhere,
                "0.0.0.0 0.1.2.3 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 192.0.2.1 198.51.100.7",
            ),
            (Place::Nowhere, "203.0.113.9 198.18.0.1 198.19.255.255 192.88.99.1 192.0.0.8"),
            (Place::Nowhere, "169.254.169.254 169.254.170.2 100.100.100.200 168.63.129.16 ::ffff:169.254.169.254"),
            (Place::Nowhere, "64:ff9b::a9fe:a9fe 2002:a9fe:a9fe::1 fd00:ec2::254 fd20:ce::254"),
            (Place::Nowhere, ":: ff02::1 2001::1 2001:db8::1 100::1 4000::1 64:ff9b:1::1 3fff::1"),
        ];
        for (expected, addresses) in rows {
            for address in addresses.split(' ') {
                assert_eq!(place(address.parse().unwrap()), expected, "{address}");
            }
        }
    }

    #[test]
    fn what_the_gate_takes_for_the_lan_is_never_public_here() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..200_000 {
            let four = IpAddr::V4(Ipv4Addr::from_bits(random() as u32));
            let six = IpAddr::V6(Ipv6Addr::from_bits(u128::from(random()) << 64 | u128::from(random())));
            for address in [four, six] {
                if loqa_skills::scope::web::is_lan_address(address) {
                    assert_ne!(place(address), Place::Public, "{address}");
                }
            }
        }
    }
}

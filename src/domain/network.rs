//! IP addresses and networks.

use std::net::IpAddr;

use crate::error::Error;

/// One address, or all addresses with the same leading bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Reads `10.0.0.5`, `10.0.0.0/8`, `::1` or `fd00::/8`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the text is not an address, or its prefix is not a number or too long.
    pub fn parse(text: &str) -> Result<Network, Error> {
        let refused =
            || Error::Invalid("a network is an address, or an address with a prefix such as 10.0.0.0/8".into());
        let (address, prefix) = text.trim().split_once('/').map_or((text.trim(), None), |(a, p)| (a, Some(p)));
        let given: IpAddr = address.parse().map_err(|_| refused())?;
        let prefix_bits = match prefix {
            None => bits(given),
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= bits(given)).ok_or_else(refused)?,
        };
        Ok(Network { address: given, prefix_bits })
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        bits(address) == bits(self.address)
            && masked(address, self.prefix_bits) == masked(self.address, self.prefix_bits)
    }
}

/// The address under which a peer is counted. An IPv6 peer is counted by its /64 network, because one client has all of
/// it.
pub fn counted_address(address: IpAddr) -> IpAddr {
    const SUBSCRIBER_BITS: u8 = 64;
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        address @ IpAddr::V6(_) => masked(address, SUBSCRIBER_BITS),
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix_bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix_bits)).unwrap_or_default();
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix_bits)).unwrap_or_default();
            IpAddr::V6((u128::from(address) & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix() {
        for (network, inside, outside) in [
            ("10.0.0.5", "10.0.0.5", "10.0.0.6"),
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.1"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("192.168.2.0/23", "192.168.3.255", "192.168.4.0"),
            ("127.0.0.1", "::ffff:127.0.0.1", "127.0.0.2"),
            ("::1", "::1", "::2"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::/0", "2001:db8::1", "127.0.0.1"),
        ] {
            let parsed = Network::parse(network).unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{network} {outside}");
        }
        for text in ["", "proxy", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "::/129", "10.0.0.0/8/8", "10.0.0"] {
            assert!(Network::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn who_has_an_address_of_a_subscriber_has_all_of_them() {
        let counted = |text: &str| counted_address(text.parse().unwrap()).to_string();
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(counted("::ffff:10.0.0.5"), "10.0.0.5");
    }
}

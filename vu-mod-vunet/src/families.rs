//! Sets of address families.

use vu_api::Family;

/// A set of address families; never `AF_UNIX`, whose names are paths and no stack's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Families {
    /// Every family but `AF_UNIX`.
    All,
    /// These.
    These(Vec<Family>),
}

impl Families {
    /// Takes words such as `inet`, `netlink`, `10` or `all`; no words are all families.
    ///
    /// # Errors
    /// The first word that is no family a stack can take.
    pub fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Result<Families, &'a str> {
        let mut these = Vec::new();
        let mut all = false;
        for word in words {
            match word {
                "all" => all = true,
                word => these.push(family(word).ok_or(word)?),
            }
        }
        Ok(if all || these.is_empty() { Families::All } else { Families::These(these) })
    }

    /// Whether the family is one of them.
    #[must_use]
    pub fn contains(&self, family: Family) -> bool {
        match self {
            Families::All => family != Family::UNIX,
            Families::These(these) => these.contains(&family),
        }
    }
}

/// A family by name (address_families(7), lower case and without `AF_`) or number.
fn family(word: &str) -> Option<Family> {
    const NAMES: [(&str, i32); 25] = [
        ("inet", libc::AF_INET),
        ("ipv4", libc::AF_INET),
        ("inet6", libc::AF_INET6),
        ("ipv6", libc::AF_INET6),
        ("netlink", libc::AF_NETLINK),
        ("packet", libc::AF_PACKET),
        ("ax25", libc::AF_AX25),
        ("ipx", libc::AF_IPX),
        ("appletalk", libc::AF_APPLETALK),
        ("x25", libc::AF_X25),
        ("key", libc::AF_KEY),
        ("llc", libc::AF_LLC),
        ("rds", libc::AF_RDS),
        ("pppox", libc::AF_PPPOX),
        ("ib", libc::AF_IB),
        ("mpls", libc::AF_MPLS),
        ("can", libc::AF_CAN),
        ("tipc", libc::AF_TIPC),
        ("bluetooth", libc::AF_BLUETOOTH),
        ("rxrpc", libc::AF_RXRPC),
        ("phonet", libc::AF_PHONET),
        ("ieee802154", libc::AF_IEEE802154),
        ("alg", libc::AF_ALG),
        ("vsock", libc::AF_VSOCK),
        ("xdp", libc::AF_XDP),
    ];
    let by_name = NAMES.iter().find(|(name, _)| *name == word).map(|&(_, number)| number);
    // Digits only: parse() takes a sign, too. 0 is AF_UNSPEC: no family.
    let by_number = || word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse().ok()).flatten();
    by_name.or_else(by_number).map(Family).filter(|&family| family.0 > 0 && family != Family::UNIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Families, &str> {
        Families::parse(words.split(',').filter(|word| !word.is_empty()))
    }

    #[test]
    fn names_and_numbers() {
        let ip = Families::These(vec![Family::INET, Family::INET6]);
        for words in ["inet,inet6", "ipv4,ipv6", "2,10"] {
            assert_eq!(parse(words), Ok(ip.clone()), "{words}");
        }
        assert!(ip.contains(Family::INET6) && !ip.contains(Family::NETLINK));
    }

    #[test]
    fn all_is_all_but_unix() {
        for words in ["", "all", "inet,all"] {
            let all = parse(words).unwrap();
            assert_eq!(all, Families::All, "{words}");
            assert!(all.contains(Family::PACKET) && !all.contains(Family::UNIX));
        }
    }

    #[test]
    fn what_is_no_family_of_a_stack() {
        for word in ["unix", "local", "1", "0", "-2", "+2", "INET", "inet7", "99999999999"] {
            assert_eq!(parse(&format!("inet,{word},bogus")), Err(word));
        }
    }
}

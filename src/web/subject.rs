//! Who is at the other end of a connection: from where, and whom its certificate names. Whether that is good, rustls has
//! decided before.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

/// Names that are taken from a certificate: 32. Further ones are passed over.
const NAMES_MAX: usize = 32;

/// Bytes of one of them: 256. A longer one is passed over.
const NAME_BYTES_MAX: usize = 256;

/// Who is at the other end of a connection; goes with each request.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address.
    pub address: IpAddr,
    /// Whom its certificate names, if it showed one.
    pub subject: Option<Arc<Subject>>,
}

/// What counts as one client: an address, of IPv6 its network of 64 bits, since a client has as many addresses of it
/// as it likes.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & (u128::MAX << 64))),
    }
}

/// Whom a certificate names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Its common name.
    pub name: String,
    /// Its organizations, as Kubernetes has groups in them.
    pub organizations: Vec<String>,
}

/// The object identifiers 2.5.4.3 and 2.5.4.10, as DER has them.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const VERSION: u8 = 0xa0;

/// UTF8String, PrintableString, IA5String.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];

/// One value of DER, and what follows it.
fn value(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x0f))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (inner, after) = rest.split_at_checked(length)?;
    Some((tag, inner, after))
}

/// The inside of a value with a tag, and what follows it.
fn expect(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, inner, after) = value(bytes)?;
    (tag == wanted).then_some((inner, after))
}

impl Subject {
    /// Reads the subject of a certificate in DER; `None` if it has no common name.
    pub fn of(certificate: &[u8]) -> Option<Subject> {
        let (certificate, _) = expect(certificate, SEQUENCE)?;
        let (mut rest, _) = expect(certificate, SEQUENCE)?;
        if let Some((_, after)) = expect(rest, VERSION) {
            rest = after;
        }
        // Serial number, algorithm, issuer, validity.
        for _ in 0..4 {
            rest = value(rest)?.2;
        }
        let (mut names, _) = expect(rest, SEQUENCE)?;
        let (mut subject, mut count) = (Subject::default(), 0);
        while let Some((mut set, after)) = expect(names, SET) {
            names = after;
            while let Some((pair, after)) = expect(set, SEQUENCE) {
                set = after;
                count += 1;
                if count > NAMES_MAX {
                    return None;
                }
                subject.take(pair);
            }
        }
        (!subject.name.is_empty()).then_some(subject)
    }

    fn take(&mut self, pair: &[u8]) -> Option<()> {
        let (kind, rest) = expect(pair, OBJECT_IDENTIFIER)?;
        let (tag, text, _) = value(rest)?;
        let text = std::str::from_utf8(text).ok()?;
        if !TEXTS.contains(&tag) || text.len() > NAME_BYTES_MAX {
            return None;
        }
        match kind {
            COMMON_NAME => text.clone_into(&mut self.name),
            ORGANIZATION => self.organizations.push(text.to_owned()),
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, inner: &[&[u8]]) -> Vec<u8> {
        let inner = inner.concat();
        let length = u8::try_from(inner.len()).unwrap();
        let head = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
        [head, inner].concat()
    }

    fn named(kind: &[u8], text: &str) -> Vec<u8> {
        let kind = der(OBJECT_IDENTIFIER, &[kind]);
        der(SET, &[&der(SEQUENCE, &[&kind, &der(0x0c, &[text.as_bytes()])])])
    }

    fn certificate(names: &[Vec<u8>]) -> Vec<u8> {
        let subject = der(SEQUENCE, &[&names.concat()]);
        let any = der(SEQUENCE, &[]);
        let (version, serial) = (der(VERSION, &[&der(2, &[&[2]])]), der(2, &[&[7]]));
        let inner = der(SEQUENCE, &[&version, &serial, &any, &any, &any, &subject]);
        der(SEQUENCE, &[&inner])
    }

    #[test]
    fn common_name_and_organizations_are_read() {
        let names =
            [named(ORGANIZATION, "sre"), named(COMMON_NAME, "anna"), named(ORGANIZATION, "audit")];
        let subject = Subject::of(&certificate(&names)).unwrap();
        assert_eq!(subject.name, "anna");
        assert_eq!(subject.organizations, ["sre", "audit"]);
    }

    #[test]
    fn what_is_cut_or_damaged_names_nobody_or_somebody_but_never_breaks() {
        let whole = certificate(&[named(COMMON_NAME, "anna"), named(ORGANIZATION, "sre")]);
        for cut in 0..whole.len() {
            assert_eq!(Subject::of(&whole[..cut]), None, "{cut}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            drop(Subject::of(&damaged));
        }
        assert_eq!(Subject::of(&certificate(&[])), None);
        let many: Vec<_> = (0..40).map(|_| named(COMMON_NAME, "a")).collect();
        assert_eq!(Subject::of(&certificate(&many[..2])).unwrap().name, "a");
    }
}

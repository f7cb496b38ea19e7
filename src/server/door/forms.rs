//! Forms of browsers: which bodies are some, and the fields of one.

use axum::http::{HeaderMap, header};

/// Whether a page of any site can make a browser send such a body without asking us first.
pub(in crate::server) fn is_form(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return false };
    let kind = kind.to_str().unwrap_or("").split(';').next().unwrap_or("").trim();
    !kind.eq_ignore_ascii_case("application/json")
}

/// The first field of a name in a body that is `application/x-www-form-urlencoded`.
pub(in crate::server) fn field(body: &[u8], name: &str) -> Option<String> {
    let pairs = body.split(|byte| *byte == b'&');
    let mut fields = pairs.map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(at);
        (decoded(name), decoded(value.strip_prefix(b"=").unwrap_or(value)))
    });
    fields.find(|(known, _)| known == name).map(|(_, value)| value)
}

/// `a+b%20c` → `a b c`. What is no UTF-8 is replaced.
fn decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next(), rest.next()];
                let digit = |digit: Option<u8>| char::from(digit?).to_digit(16);
                if let [Some(high), Some(low)] = digits.map(digit) {
                    bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                } else {
                    bytes.push(b'%');
                    bytes.extend(digits.into_iter().flatten());
                }
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_browsers_write_them() {
        let body = b"user=an+na%40example.org&password=p%26%3D%25&empty=&bare&user=eve&bad=%zz%4";
        let get = |name| field(body, name);
        assert_eq!(get("user").as_deref(), Some("an na@example.org"));
        assert_eq!(get("password").as_deref(), Some("p&=%"));
        assert_eq!((get("empty"), get("bare")), (Some(String::new()), Some(String::new())));
        assert_eq!(get("bad").as_deref(), Some("%zz%4"));
        assert_eq!(get("none"), None);
    }
}

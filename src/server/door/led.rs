//! Where people are led who must say who they are, and where from there.

use axum::http::StatusCode;

use crate::server::problem::Problem;

/// The path of the page, from which one comes to another.
pub(in crate::server) fn login_path(to: &str) -> String {
    let mut path = "/login?to=".to_owned();
    for byte in own(to).bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                path.push(char::from(byte));
            }
            byte => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

/// Where a browser is sent afterwards: a page of ours, never another site.
pub(in crate::server) fn own(to: &str) -> &str {
    let is_own = to.starts_with('/')
        && !to.starts_with("//")
        && to.chars().all(|c| c.is_ascii_graphic() && c != '\\');
    if is_own && !to.starts_with("/login") { to } else { "/" }
}

/// Too many wrong passwords.
pub(in crate::server) fn too_many() -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_tries",
        "too many wrong passwords came from this address",
        "wait for a minute; a token is taken meanwhile",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for wrong in
            ["//evil.example", "/\\evil.example", "https://evil.example", "", "/a b", "/\r\nX: y"]
        {
            assert_eq!(own(wrong), "/", "{wrong:?}");
        }
        assert_eq!(own("/alerts?rule=a&severity=high"), "/alerts?rule=a&severity=high");
        assert_eq!(own("/login?to=/login"), "/");
        assert_eq!(login_path("/alerts?rule=a b"), "/login?to=/");
        assert_eq!(login_path("/alerts?rule=a&b=ü"), "/login?to=/");
        assert_eq!(login_path("/alerts?rule=a&b=1"), "/login?to=/alerts%3Frule%3Da%26b%3D1");
    }
}

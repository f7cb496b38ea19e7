//! Clients, as far as their user agents tell: the client chooses those, so silence proves nothing.

/// How the user agents of tools begin that people use by hand. Programs get new versions; they do not become
/// kubectl.
const TOOLS_OF_PEOPLE: &[&str] = &[
    "kubectl/",
    "k9s/",
    "Lens/",
    "curl/",
    "Wget/",
    "python-requests/",
    "Python-urllib/",
    "aiohttp/",
    "HTTPie/",
    "PostmanRuntime/",
    "PowerShell/",
];

/// Whether a user agent names a tool that people use by hand.
pub fn is_tool_of_people(user_agent: &str) -> bool {
    TOOLS_OF_PEOPLE.iter().any(|tool| {
        user_agent.get(..tool.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tool))
    })
}

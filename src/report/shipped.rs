//! The shipped frameworks inside the binary. A test holds the table to the directory `frameworks/`.

use std::sync::Arc;

use crate::engine::diagnostic::SourceText;

macro_rules! frameworks {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../frameworks/", $name)))),*]
    };
}

/// Framework files and their text.
const FRAMEWORKS: &[(&str, &str)] = frameworks![
    "cis-kubernetes.yaml",
    "gdpr.yaml",
    "iso27001.yaml",
    "nist-800-53.yaml",
    "pci-dss.yaml",
    "soc2.yaml",
];

/// The shipped frameworks; what `frameworks/` holds.
pub fn shipped_frameworks() -> Vec<Arc<SourceText>> {
    let source = |(name, text): &(&str, &str)| SourceText::new(format!("frameworks/{name}"), *text);
    FRAMEWORKS.iter().map(source).collect()
}

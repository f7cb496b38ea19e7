//! From bytes to events: one pass that extracts only what rules need.

//! Enums whose variants are words, in files, labels and messages: each word is written once.

/// Declares an enum with a word for each variant, which is also its form in JSON.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $($(#[$of_variant:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize,
        )]
        pub enum $name {
            $($(#[$of_variant])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// All, in their order.
            pub const ALL: [$name; [$($word),+].len()] = [$($name::$variant),+];

            /// The words with what they mean, in the same order.
            pub const WORDS: [(&'static str, $name); [$($word),+].len()] =
                [$(($word, $name::$variant)),+];

            /// Its word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }

            /// From its word.
            pub fn parse(word: &str) -> Option<$name> {
                $name::WORDS.iter().find(|(known, _)| *known == word).map(|(_, found)| *found)
            }
        }
    };
}

pub(crate) use words;

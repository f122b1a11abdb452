//! Macros for enums and constants whose doc comments are data. The reference (`docs/reference.md`) lists names and meanings, so each of them is
//! written once.

/// Defines an enum without data, with the name and the meaning of each variant. The doc comment of a variant is its meaning.
///
/// The enum gets `ALL` (in the order of definition), `as_str` (name of the variant, as a status or an event has it) and `meaning`.
#[macro_export]
macro_rules! documented_enum {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident {
            $($(#[doc = $doc:literal])+ $variant:ident,)+
        }
    ) => {
        $(#[$attribute])*
        $visibility enum $name {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $name {
            /// All variants, in the order of their definition.
            $visibility const ALL: [Self; [$(stringify!($variant)),+].len()] = [$(Self::$variant),+];

            /// Returns the name as the API has it.
            $visibility const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }

            /// Returns the meaning: one or more sentences.
            $visibility const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

/// Defines constants that are keys of labels, annotations or finalizers, and a list of them with their meanings.
macro_rules! documented_keys {
    (
        $(#[$attribute:meta])*
        $visibility:vis $list:ident;
        $($(#[doc = $doc:literal])+ $name:ident = $key:literal;)+
    ) => {
        $($(#[doc = $doc])+ $visibility const $name: &str = $key;)+

        $(#[$attribute])*
        $visibility const $list: [(&str, &str); [$($key),+].len()] = [$(($key, concat!($($doc),+).trim_ascii()),)+];
    };
}

pub(crate) use documented_keys;

#[cfg(test)]
mod tests {
    documented_enum! {
        /// Enum of the test.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Weather {
            /// The sun shines.
            Sunny,
            /// Rain falls,
            /// and the ground is wet.
            Rainy,
        }
    }

    documented_keys! {
        /// Keys of the test.
        pub(super) KEYS;
        /// Label of the test.
        LABEL = "example.com/label";
    }

    #[test]
    fn doc_comments_are_meanings() {
        assert_eq!(Weather::ALL.map(Weather::as_str), ["Sunny", "Rainy"]);
        assert_eq!(Weather::ALL.map(Weather::meaning), ["The sun shines.", "Rain falls, and the ground is wet."]);
        assert_eq!(KEYS, [(LABEL, "Label of the test.")]);
    }
}

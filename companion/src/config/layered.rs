//! Lays a configuration that says some things over the built-in one that says everything.

/// Declares a struct together with a `Partial` of it, which is what YAML is parsed into: every field
/// may be missing, none may be unknown. `required` fields are missing nowhere in the built-in
/// configuration, `nullable` ones may be null there, `nested` ones are layered themselves.
macro_rules! layered {
    (
        $(#[$doc:meta])*
        pub struct $name:ident / $partial:ident {
            required { $($(#[$rdoc:meta])* $required:ident: $rtype:ty,)* }
            nullable { $($(#[$ndoc:meta])* $nullable:ident: $ntype:ty,)* }
            nested { $($(#[$sdoc:meta])* $nested:ident: $stype:ident / $spartial:ident,)* }
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            $($(#[$rdoc])* pub $required: $rtype,)*
            $($(#[$ndoc])* pub $nullable: Option<$ntype>,)*
            $($(#[$sdoc])* pub $nested: $stype,)*
        }

        #[derive(Clone, Debug, Default, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $partial {
            $($required: Option<$rtype>,)*
            $($nullable: Option<$ntype>,)*
            $($nested: Option<$spartial>,)*
        }

        impl $partial {
            /// Takes from `self` what it says, and the rest from `below`; names the field that
            /// neither says.
            pub(super) fn over(self, below: Self) -> Result<$name, &'static str> {
                Ok($name {
                    $($required: self.$required.or(below.$required).ok_or(stringify!($required))?,)*
                    $($nullable: self.$nullable.or(below.$nullable),)*
                    $($nested: self.$nested.unwrap_or_default().over(below.$nested.unwrap_or_default())?,)*
                })
            }
        }
    };
}

pub(super) use layered;

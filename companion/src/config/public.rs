//! What the public is told: the status page, its feeds and the banner.

use std::collections::BTreeMap;

use quiesce_policy::snapshot::{Surface, SurfaceName};

use super::{Period, layered::layered};
use crate::limits;

/// Windows over that a page lists at most.
const MAX_HISTORY: usize = 200;

layered! {
    /// What the public is told.
    pub struct Public / PartialPublic {
        required {
            /// What page and feeds are called.
            title: String,
            /// Of a window that is over, people are told for this long.
            ended_for: Period,
            /// Windows that are over and listed.
            history: usize,
            /// What people call surfaces.
            titles: BTreeMap<SurfaceName, String>,
        }
        nullable {}
        nested {}
    }
}

/// Every field whose contents are wrong, and what is wrong with it.
pub(super) fn problems(public: &Public, surfaces: &[Surface], wrong: &mut impl FnMut(&str, String)) {
    if let Err(message) = limits::text(&public.title, limits::MAX_NAME) {
        wrong("public.title", message);
    }
    if public.history > MAX_HISTORY {
        wrong("public.history", format!("{} is more than {MAX_HISTORY}", public.history));
    }
    for (name, title) in &public.titles {
        let field = format!("public.titles.{name}");
        if !surfaces.iter().any(|surface| surface.name == *name) {
            wrong(&field, format!("there is no surface `{name}`; `surfaces` lists those there are"));
        }
        if let Err(message) = limits::text(title, limits::MAX_NAME) {
            wrong(&field, message);
        }
    }
}

//! What the public sees: one view of the windows, made of the event log, and the pages and feeds that show it.
//!
//! Nothing in here knows enforcers, tokens, operators' names or numbers: [`Told`] takes none of them in.

mod feeds;
mod html;
mod pages;
mod told;
mod view;
mod words;

pub use self::{
    pages::{Document, Keeper, Pages},
    told::Told,
    view::{PublicScope, PublicState, PublicView, PublicWindow, Update, WindowState},
};

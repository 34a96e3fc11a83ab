//! What others are told, against servers that answer like the real ones, and fail like them.

mod caches;
mod elsewhere;
mod kit;
mod outbox;
mod pages;
mod programs;
mod queues;
mod several;
mod varnish;

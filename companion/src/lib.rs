//! The companion service.

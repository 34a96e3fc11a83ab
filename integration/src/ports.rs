//! Free loopback ports that stay free: a restarted Envoy or companion must find its port again.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Result, bail};

/// Below Linux's default range for outgoing connections (32768 on), which would otherwise take a
/// port between one process's end and the next one's start.
const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A loopback address that nothing listens on and that this process has not handed out before.
///
/// # Errors
/// When every port of the range is taken.
pub fn free() -> Result<SocketAddr> {
    // Test processes that run at the same time start far apart.
    let offset = std::process::id().wrapping_mul(613);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + offset.wrapping_add(step) % COUNT)?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(addr).is_ok() {
            return Ok(addr);
        }
    }
    bail!("no free port from {FIRST} to {}", FIRST + COUNT)
}

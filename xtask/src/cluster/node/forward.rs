//! Forwarding of connections from the host's loopback interface to a port in the cluster's namespace.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result};

/// Accepts connections from the listening socket that is standard input.
pub(super) fn from_stdin(port: u16) -> Result<()> {
    let listener = std::io::stdin().as_fd().try_clone_to_owned().context("there is no standard input")?;
    let listener = TcpListener::from(listener);
    listener.local_addr().context("standard input is not a listening socket")?;
    std::thread::spawn(move || {
        loop {
            match listener.accept() {
                Ok((outside, _)) => drop(std::thread::spawn(move || forward(&outside, port))),
                // Usually too many open files, which is temporary.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    });
    Ok(())
}

fn forward(outside: &TcpStream, port: u16) {
    let Ok(inside) = TcpStream::connect(("127.0.0.1", port)) else { return };
    drop(outside.set_nodelay(true));
    drop(inside.set_nodelay(true));
    std::thread::scope(|scope| {
        scope.spawn(|| copy(outside, &inside));
        copy(&inside, outside);
    });
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    if std::io::copy(&mut from, &mut to).is_err() {
        // Otherwise, the other direction would wait forever for a closed peer.
        drop(from.shutdown(Shutdown::Both));
        drop(to.shutdown(Shutdown::Both));
    }
    drop(to.shutdown(Shutdown::Write));
}

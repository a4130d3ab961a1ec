//! What leaves for webhooks and mail relays, over real sockets on loopback.

pub(crate) mod mail;
pub(crate) mod webhooks;

//! What leaves for webhooks and mail relays, over real sockets on loopback.

mod mail;
mod webhooks;

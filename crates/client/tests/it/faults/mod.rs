//! What the wire and those who stand on it do to calls. Whatever it is, the caller gets the right answer or a typed error,
//! and what may have been carried out is not sent again.

mod bulk;
mod call;
mod org;
mod redirects;
mod rest;
mod upload;

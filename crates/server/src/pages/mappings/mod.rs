//! Mappings: all of them, each with how it stands and what can be done with it, and the editor.
//!
//! Reading order: [`list`], [`one`] (a mapping), [`acts`] (what is done with it); then the editor: [`choose`] (of which
//! object), [`editor`] (what it shows), [`edit`] (what is done there), [`fields`] (what is offered), [`draft`] (a definition as
//! a form), [`steps`] (a transform as a line), [`text`] (a definition as text), [`tried`] (what came of it).

pub(crate) mod acts;
pub(crate) mod choose;
mod draft;
pub(crate) mod edit;
mod editor;
mod fields;
pub(crate) mod list;
pub(crate) mod one;
mod steps;
mod text;
mod tried;

use tieline_store::mappings::{Mapping, MappingState};

use super::words::{Pill, pill};

/// How a mapping stands; one that waits for a decision about what is gone says so.
pub(super) fn state(mapping: &Mapping) -> Pill {
    match mapping.held {
        Some(_) if mapping.state == MappingState::Paused => pill("held"),
        _ => pill(mapping.state.name()),
    }
}

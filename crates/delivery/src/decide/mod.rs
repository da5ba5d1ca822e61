//! Decides which action an object needs next. Pure.

pub(crate) mod action;
pub(crate) mod adoption;
pub(crate) mod denied;
pub(crate) mod failure;
pub(crate) mod list_merge;
pub(crate) mod render_row;

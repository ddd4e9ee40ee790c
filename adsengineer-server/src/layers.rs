//! What every request passes, from the outside: [`edge`] (id, panics, errors, headers), [`gate`] (who, how much), [`room`] (how many, how long).

pub(crate) mod edge;
pub(crate) mod gate;
pub(crate) mod room;

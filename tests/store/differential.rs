//! The same random commands on the model and on SQLite give the same results and the same views.

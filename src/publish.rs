//! The one mutable cell between compiling and answering: the current snapshot.

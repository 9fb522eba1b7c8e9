//! Moves queries and responses between sockets and the engine.

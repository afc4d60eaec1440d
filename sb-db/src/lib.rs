//! The southbound database: its schema, one file a table, and its server.

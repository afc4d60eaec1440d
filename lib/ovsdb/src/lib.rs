//! The OVSDB data model and the RFC 7047 wire protocol, client and server side, without I/O.

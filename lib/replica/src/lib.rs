//! A client's live copy of a database, over gRPC or OVSDB alike: change feed, transactions with retry.

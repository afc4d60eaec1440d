//! Protobuf and tonic: the Database service and the Raft transport.

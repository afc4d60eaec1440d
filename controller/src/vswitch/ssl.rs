//! `SSL`: the keys with which this host shows who it is.

ovsdb::table! {
    /// Files of the host's key, certificate and authority.
    pub struct Ssl = "SSL" {
        root: false,
        max_rows: 1,
        columns {
            /// The private key's file.
            private_key: string,
            /// The certificate's file.
            certificate: string,
            /// The authority's certificate.
            ca_cert: string,
        }
    }
}

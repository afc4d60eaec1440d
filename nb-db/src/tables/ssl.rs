//! `SSL`, as the northbound database has it.

ovsdb::table! {
    /// Keys and certificates of the server for TLS.
    pub struct Ssl = "SSL" {
        root: false,
        max_rows: 1,
        columns {
            /// Path of the PEM file with the server's private key.
            private_key: string,
            /// Path of the PEM file with the server's certificate.
            certificate: string,
            /// Path of the PEM file with the certificate authorities that clients are checked against.
            ca_cert: string,
            /// Whether the CA certificate is taken from the first peer if the file is missing.
            bootstrap_ca_cert: boolean,
            /// TLS versions that are allowed.
            ssl_protocols: string,
            /// Cipher suites for TLS 1.2 and older.
            ssl_ciphers: string,
            /// Cipher suites for TLS 1.3.
            ssl_ciphersuites: string,
            /// Key-value pairs for the management system; kept and not interpreted unless a key is documented.
            external_ids: map(string => string),
        }
    }
}

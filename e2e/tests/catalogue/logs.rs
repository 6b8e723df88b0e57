//! Log files shipped to a real `OpenSearch`.

//! Guards in front of an app, and tools to look into a pod.

module outrigger.dev/kubernetes/pause

go 1.25.0

module outrigger.dev/programs/meddler

go 1.25.0

module outrigger.dev/programs/echo

go 1.25.0

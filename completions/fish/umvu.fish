complete -c umvu -s f -l rc -d 'Run this start-up file instead of /etc/vurc and ~/.vurc' -r -F
complete -c umvu -s V -l vu-name -d 'Name the view' -r
complete -c umvu -s m -l module -d 'Activate modules before the command starts' -r
complete -c umvu -s d -l debugtags -d 'Debug categories that are on from the start: see vudebug(1)' -r
complete -c umvu -s D -l debugcols -d 'The colours of debug categories, TAGS:COLOUR: see vudebug(1)' -r
complete -c umvu -s l -l loglevel -d 'Log up to this severity, from 0 (emergency) over 3 (error), 4 (warning), 6 (information) to 7 (debug)' -r
complete -c umvu -s s -l syslog -d 'Log to syslog, too, up to this severity' -r
complete -c umvu -s o -l output -d 'Log to a file instead of standard error' -r -F
complete -c umvu -s N -l norc -d 'Run no start-up files'
complete -c umvu -s x -l nonesting -d 'Mounts work on the host instead of the layer below them'
complete -c umvu -s S -l noseccomp -d 'Refused: without seccomp there is no view'
complete -c umvu -l version -d 'Print the version'
complete -c umvu -s h -l help -d 'Print help (see more with \'--help\')'

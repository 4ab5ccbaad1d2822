complete -c vudebug -l version -d 'Print the version'
complete -c vudebug -s h -l help -d 'Print help (see more with \'--help\')'

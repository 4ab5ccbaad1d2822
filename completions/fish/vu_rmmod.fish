complete -c vu_rmmod -l version -d 'Print the version'
complete -c vu_rmmod -s h -l help -d 'Print help (see more with \'--help\')'

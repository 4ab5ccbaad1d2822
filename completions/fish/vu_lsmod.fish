complete -c vu_lsmod -s a -l all -d 'The modules that are not active, too'
complete -c vu_lsmod -s v -l verbose -d 'The submodules of each, too'
complete -c vu_lsmod -l version -d 'Print the version'
complete -c vu_lsmod -s h -l help -d 'Print help (see more with \'--help\')'

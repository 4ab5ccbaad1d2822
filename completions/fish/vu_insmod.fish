complete -c vu_insmod -s p -l permanent -d 'Activate for good: they can never be removed'
complete -c vu_insmod -l version -d 'Print the version'
complete -c vu_insmod -s h -l help -d 'Print help (see more with \'--help\')'

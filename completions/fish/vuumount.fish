complete -c vuumount -s f -l force -d 'Lazily: unmount now, clean up when the last of its files is closed'
complete -c vuumount -s d -l detach -d 'Detach: as --force'
complete -c vuumount -l version -d 'Print the version'
complete -c vuumount -s h -l help -d 'Print help (see more with \'--help\')'

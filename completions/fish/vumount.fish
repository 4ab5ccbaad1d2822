complete -c vumount -s t -l types -d 'The type of the mount' -r
complete -c vumount -s o -l options -d 'Options, separated by commas; what every file system knows (ro, noexec …) becomes a flag of mount(2), the rest is the module\'s' -r
complete -c vumount -s r -l read-only -d 'Read-only, as -o ro'
complete -c vumount -s w -l rw -l read-write -d 'Read-write, as -o rw'
complete -c vumount -s B -l bind -d 'As -o bind'
complete -c vumount -s M -l move -d 'As -o move'
complete -c vumount -s R -l rbind -d 'As -o rbind'
complete -c vumount -l version -d 'Print the version'
complete -c vumount -s h -l help -d 'Print help (see more with \'--help\')'

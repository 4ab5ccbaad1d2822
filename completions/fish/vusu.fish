complete -c vusu -s c -l command -d 'Run this by the shell' -r
complete -c vusu -s s -l shell -d 'Run this shell instead of the user\'s' -r -F
complete -c vusu -s l -l login -d 'A login shell: with an environment of its own, and in the home directory; \'-\' before USER is the same'
complete -c vusu -s p -s m -l preserve-environment -d 'Leave HOME, SHELL, USER and LOGNAME as they are'
complete -c vusu -l version -d 'Print the version'
complete -c vusu -s h -l help -d 'Print help (see more with \'--help\')'

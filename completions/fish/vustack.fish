complete -c vustack -s f -l families -l family -d 'Only these families, separated by commas: names (inet6), numbers (10) or groups (ip: inet, inet6; net: ip, netlink, packet; all)' -r
complete -c vustack -s s -l supported -d 'Only the families that the stack supports'
complete -c vustack -s v -l verbose -d 'Say which families are chosen'
complete -c vustack -l version -d 'Print the version'
complete -c vustack -s h -l help -d 'Print help (see more with \'--help\')'

complete -c vufsdiff -l tar -d 'Write the changes to FILE as a layer of a container image (a tar archive, with .wh. files for what was deleted); - is standard output' -r -F
complete -c vufsdiff -l apply -d 'Write the changes to LOWER'
complete -c vufsdiff -l version -d 'Print the version'
complete -c vufsdiff -s h -l help -d 'Print help (see more with \'--help\')'

"""The site's private CA: certificates for stunnel and the CARP password, made and kept on the controller.

`plan` says what there should be. `certificates` builds and judges without touching a file. `store` owns the folder,
and `files` knows what is in it. `manage` makes the folder match the plan. `credentials` hands out what hosts may have.
The command line is certificates.py at the top of the repository. The CA's key is read through `files` alone.
"""

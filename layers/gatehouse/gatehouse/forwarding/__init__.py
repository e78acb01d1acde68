"""Forwards verified events to the merchant's apps.

sign.py          what lets an app check that it was us                            pure
outcome.py       what an answer means: delivered, final, retry, gone              pure
circuit.py       leaving an app alone that does not answer                        pure
silence.py       knowing within a process that an app has just fallen silent
rate.py          sending to an app no faster than it wants                        pure
loops.py         knowing our own requests when they come back to us               pure
excerpt.py       what may be told of an answer                                    pure
app_headers.py   which headers an app may ask for                                 pure
deadline.py      one moment for all steps of an attempt
targets.py       which addresses may be written to, checked before every connection
connections.py   TLS to the address that was checked, all of it within one deadline
http_answer.py   as much of an answer as is needed
deliver.py       one delivery, with its attempts
"""

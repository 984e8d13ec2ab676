"""How `autoscaler init` adopts an app: objects and choices in, files, diff and steps out. Pure.

`plan.py` puts it together; `pods.py` has the patch of the Deployment, `routes.py` those of its
Services, `steps.py` what the operator is to do, in this order and no other. The manifests that it
uses are those that we ship (`adapters.shipped`), and what is wrong with an app is what `doctor`
finds, so that there is one rule for each.
"""
